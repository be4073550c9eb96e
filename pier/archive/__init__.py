"""Trees to bytes and back: tar, layers, compression. Blocking functions; callers use threads.

All of it works on iterators of chunks (bytes of any length) and on directory descriptors.

compression  gzip, zstd, bzip2 and xz: told by the first bytes, undone and done chunk by chunk
pipeline     a stage of work in a thread of its own, behind a short queue
entry        one member of a tar archive, and the errors of archives
header       tar headers as bytes: ustar, PAX and GNU, read and written (pure)
reader       a tar stream as entries with their data
extract      entries become files below a directory, never outside it
layer        image layers: whiteouts to overlayfs's form and back
walk         a tree as entries, by descriptor, in one order
writer       entries become a tar stream
tarball      trees inside a root for cp, export and ADD
changes      what an upper directory changed in those below it
"""
