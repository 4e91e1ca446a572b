"""What a user would take instead of a model of this package: boosted trees, linear models, the mean, zero."""
