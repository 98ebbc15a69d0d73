"""One function per thing that a person can ask for; the command line and the pages call these.

From the ground up; what stands on one line has one floor:

workspaces, connections   make and find a project folder; sign in to CVAT, and again without asking
catalogue, dashboard      tasks on the server; the dashboard and its worker as processes
sourcing, doctor          labelled images: import, list, rename, remove; what this machine lacks

models/       a model is trained and held against its parent
    pretrained         weights that others trained
    learning_sets      what a training learns from and is measured on
    training, gating   train one; look at it beside the one in use
    training_pictures, training_cost   what a training shows while it goes on, and its price
    versions           which models there are, which one is in use, the way back

labelling/    a model labels a task
    predicting         the model looks once, and what it found is kept
    previewing         look at any threshold, decide
    pushing            plan, push, undo
    reviewing          what people made of a push
    label_next         which images would teach the model most
    exporting          files and new tasks

serving/      a model answers others
    offers             which models, and in which version
    service, state     the service itself: start, look, stop, what CVAT has to be told
    serverless, nuctl  a function of CVAT's Nuclio: its folder, its deployment
    bundle             what a module of ours needs to run elsewhere

backups/      what is on the server is kept
    repositories       where they lie, what they hold, settings
    backing_up         take snapshots
    restoring          bring them back as new; restoring_live: into the live task
    drilling           prove that they come back
    retaining          what is kept
    inspecting         compare, look at a frame, coverage
    scheduling         what is due, made; background: the same as background runs

labelstudio/  projects in, previews out (sending), the ML backend that answers

activity      all of it as background runs
demo          the whole job on the embedded sandbox
"""
