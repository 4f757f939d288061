"""Generated data sets, each with an exact scorer. No model code."""
