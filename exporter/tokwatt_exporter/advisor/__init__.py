"""What can run here, and what runs best: advice from files, sensors and own measurements, with the arithmetic shown."""
