"""From the joints of a motion to the bones of a character: plain NumPy, no bpy.

What goes in: source_motion says what a motion is (armature_motion and bvh_source read others'),
target_rig what a rig is, bone_match which of its bones follow which joints, retarget_options what
the user chose. Recognising a rig is told in recognise.

retarget puts the steps in a row: rest_alignment and turned_rig (each bone turned as its joint),
root_motion (hips, start, what carries the figure), planting with foot_plants and leg_ik (feet on
the floor), twist, ik_controls, and channels (what Blender keys). moving_rig is the rig while they
work on it. retarget_figures measures, retarget_report tells.

All of it but target_rig and channels works in figure space: metres, y up, +z where the
character faces, +x on its left, the floor at y = 0, the hips over the origin in the rest pose.
"""
