"""Two visits to one place: what each saw of the other's objects, and which object of one is which of the other."""
