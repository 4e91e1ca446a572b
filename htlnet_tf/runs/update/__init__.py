"""A trained run goes on with the rows of a further day."""
