"""One function per thing that a person can ask for; the command line and the pages call these.

workspaces   make and find a project folder
connections  sign in to CVAT, and do it again without asking
catalogue    tasks on the server, and what this workspace did with them
sourcing     labelled images: import, list, rename, remove
modelling    train a model and hold it against its parent
learning_sets  what a training learns from and is measured on
versions     which models there are, which one is in use, the way back
predicting   the model looks once, and what it found is kept
previewing   look at any threshold, decide
pushing      plan, push, undo
exporting    files and new tasks
activity     the same as background runs
offers       which models are served to others, and in which version
serving      the service itself: start, look, stop, what CVAT has to be told
serverless   a model as a function of CVAT's Nuclio; nuctl deploys it and says how it is
labelstudio  Label Studio: import, new projects, its ML backend
demo         the whole job on the embedded sandbox
backups      the repository: where it is, what it holds, what is kept
backing_up   take snapshots
restoring    bring them back, as new or into the live task
drilling     prove that they come back
reviewing_backups  compare, look at a frame, coverage
scheduling   what is due, made; backup_runs: the same as background runs
doctor       what this machine can and lacks
"""
