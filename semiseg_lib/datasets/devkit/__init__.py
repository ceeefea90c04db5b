"""The layout and annotations of VOCdevkit, shared by VOC, mini-VOC and your own folders."""
