"""How the shipped sample is made; see README.md beside this file."""
