"""What a motion is: skeleton, rotations, kinematics, contacts, representation, files.

Conventions, here and everywhere: metres, seconds, radians; right-handed, y up, +z forward,
a character that faces +z has its left side at +x; quaternions wxyz and of unit length; matrices
act on column vectors; float32. Heading is the angle about the up axis, atan2(x, z) of the facing
direction: 0 is +z and it grows in a left turn. Axes are always in the order (B, T, J, ...).

Shape letters: B batch, T frames, J joints, K keypoints, F features.
"""
