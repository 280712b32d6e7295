"""Marey inside the Blender file: read rigs, write actions, add the mannequin, move messages."""
