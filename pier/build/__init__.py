"""How images are made: from a Dockerfile and the files beside it to layers, a config, tags.

Pure (text and values):
parser         lines, directives, continuations, heredocs
words          words, flags, pairs, JSON
syntax         a line becomes an instruction
instructions   the eighteen, as values
flags, run_mounts, durations, chmod   the small languages in them
expansion      `$` forms
globs, ignore  patterns
plan           stages as a graph
state, steps   what a stage has come to; an instruction with everything settled
cache          keys, and why a key changed
checks         build checks: rules and findings
lint, lint_stages   what they find in a text, and in what its stages come to
progress       what is told meanwhile
request        what is asked

Acting:
intake, context, git, fetch   where files come from   sources   what `from=` means in one build
bases          images to start from, and to take cached steps from
trees, content        choosing and reading files  copy, copying   putting them into a root
owners, stubs         names and mount points in a hostile root
run, mounting, cache_mounts   a RUN, and what it is shown
layers, cache_store, scope    what steps leave and share
stage, building, builder      one stage, one build, all builds      checking   one build's checks
squash, exports               what else can be made of the result
"""
