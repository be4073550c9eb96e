"""The little languages inside flags, each turned into what the Engine API wants. Pure.

A value that is wrong raises ValueError in Docker's words; who reads the flag says which it was.

- `ports` (`-p`, `--expose`), `mounts` (`-v`, `--mount`, `--tmpfs`), `attachments` (`--network`)
- `devices` (`--device`, `--gpus`, `--blkio-weight-device`, ...), `variables` (`-e`, `-l`, files)
- `policies` (`--ulimit`, `--restart`, `--add-host`, `--security-opt`, `--health-*`, ...)
"""
