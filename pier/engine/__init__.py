"""The composition root: makes every part, restores after a crash, closes in reverse.

engine      what the daemon is made of, bottom-up
tasks       its long-lived tasks
model       what it tells of itself and the machine, as values
facts       looking that up (`docker info`)
"""
