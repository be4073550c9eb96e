"""Docker's dialect: translation at the door, no decisions."""
