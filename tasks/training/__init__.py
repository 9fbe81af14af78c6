"""How the model that ships with this project is made."""
