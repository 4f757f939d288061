"""BAGEL's published files: from them into our trees and back."""
