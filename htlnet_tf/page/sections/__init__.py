"""The sections of a page, a file each: from facts to blocks; one that has nothing to say is None."""
