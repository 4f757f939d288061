"""Posterior moments of a data set's images, computed ahead: their files and how training reads them."""
