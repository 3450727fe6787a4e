"""Every activation in one block: row, true function and function. A module for each family, each torch-free."""
