"""CVAT's AI tools in the sandbox: functions of a Nuclio, called for one frame or a whole task."""
