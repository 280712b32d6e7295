"""What the artist sees and presses: preferences, scene settings, operators, panels."""
