"""What passes between notebooks, and how: the contract, the store, and the parameters that are recorded with it."""
