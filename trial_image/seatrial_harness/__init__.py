"""Write training scripts that Seatrial can tune."""
