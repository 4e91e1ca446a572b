"""The configurations that ship with the package, one YAML per data set."""
