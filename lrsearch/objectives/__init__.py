"""What trains a recipe: lrsearch itself, or the user's own function."""
