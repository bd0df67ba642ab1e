"""Datasets, LightningDataModules and degradations."""
