"""From a video file to the keypoints of the people in it.

Frames with their times, keypoints by a detector, people followed from frame to frame, and how the
camera turns. Nothing here knows of motions in 3D. PyAV, OpenVINO and OpenCV are imported where they
are used: the engine starts without them.
"""
