"""The folders and annotations of VOCdevkit, which VOC, mini-VOC and folders of one's own share."""
