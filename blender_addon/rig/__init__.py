"""From the joints of a motion to the bones of a character: plain NumPy, no bpy.

bone_maps knows the names of rig families, target_rig what a rig is, rest_alignment how its rest
pose differs from the motion's, foot_plants and leg_ik keep feet on the floor, channels turns
rotations into what Blender keys, and retarget puts them in a row.

All of it but target_rig and channels works in figure space: metres, y up, +z where the
character faces, +x on its left, the floor at y = 0, the hips over the origin in the rest pose.
"""
