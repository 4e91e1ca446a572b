"""The one path from raw columns to scores."""
