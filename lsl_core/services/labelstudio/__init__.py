"""Label Studio: its projects as sources, previews sent to it, its ML backend."""
