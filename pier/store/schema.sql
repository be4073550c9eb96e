-- Everything Pier remembers between runs. Three kinds of truth:
--   records  these tables       what exists and what was asked for
--   content  files              blobs, snapshot directories, volumes, logs
--   facts    kernel and monitors what runs; never stored, always looked up
-- Creating: files first, row last. Deleting: row first, files last.
-- So a row always has its files, and a file without a row is litter to sweep. A loss of power may
-- take files and leave their rows: what is not `durable` is looked at again after one (ADR 0710).
-- Times (*_ns) are nanoseconds since the epoch; *_json columns hold one dataclass each.

CREATE TABLE blobs (
    digest      TEXT PRIMARY KEY,               -- content/blobs/sha256/<hex>
    size        INTEGER NOT NULL,               -- bytes
    created_ns  INTEGER NOT NULL,
    durable     INTEGER NOT NULL DEFAULT 0      -- 1: its bytes are on the disk
) STRICT;

CREATE TABLE snapshots (
                                                -- snapshots/<id>/{fs,work}; no number is used twice:
                                                -- rows that a loss of power brings back would find others' files
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,           -- committed: chain ID; active: its owner, "container/<id>";
                                                -- "lost/<chain ID>": a container stands on what is gone
    kind        TEXT NOT NULL CHECK (kind IN ('committed', 'active', 'view')),
    parent      INTEGER REFERENCES snapshots ON DELETE RESTRICT,
    size        INTEGER,                        -- bytes on disk; NULL until measured
    created_ns  INTEGER NOT NULL,
    durable     INTEGER NOT NULL DEFAULT 0      -- 1: what is below its fs/ is on the disk
) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots (parent);

CREATE TABLE images (
    id          TEXT PRIMARY KEY,               -- digest of the image config
    manifest    TEXT NOT NULL REFERENCES blobs ON DELETE RESTRICT,
    chain_id    TEXT NOT NULL,                  -- key of the top snapshot; '' for no layers
    parent      TEXT NOT NULL DEFAULT '',       -- image it was built from, for history and the build cache
    size        INTEGER NOT NULL,               -- bytes, unpacked, all layers
    created_ns  INTEGER NOT NULL                -- as the config says; 0 when it says nothing
) STRICT;

CREATE TABLE image_blobs (                      -- manifest, config and layers: roots for collection
    image       TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    digest      TEXT NOT NULL REFERENCES blobs  ON DELETE RESTRICT,
    PRIMARY KEY (image, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_blobs_by_digest ON image_blobs (digest);

CREATE TABLE layers (                           -- how a diff ID can be had as bytes, without compressing again
    diff_id     TEXT NOT NULL,
    digest      TEXT NOT NULL REFERENCES blobs ON DELETE CASCADE,
    media_type  TEXT NOT NULL,
    PRIMARY KEY (diff_id, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (                             -- name:tag and name@digest, normalized (docker.io/library/a:1)
    reference   TEXT PRIMARY KEY,
    image       TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    tagged_ns   INTEGER NOT NULL
) STRICT;
CREATE INDEX tags_by_image ON tags (image);

CREATE TABLE damaged_images (                   -- they were here, and something of them is gone
    image       TEXT NOT NULL,                  -- the ID
    reference   TEXT NOT NULL,                  -- a name it had, as in tags; '' in one row of each
    reason      TEXT NOT NULL,                  -- what is gone, in words
    PRIMARY KEY (image, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE containers (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    image       TEXT NOT NULL,                  -- no foreign key: rmi --force may remove it
    state       TEXT NOT NULL,                  -- pier.containers.state.State
    spec_json   TEXT NOT NULL,                  -- what was asked: never changes, save by update
    mounts_json TEXT NOT NULL,                  -- what was decided: model.MountPoint
    status_json TEXT NOT NULL,                  -- what happened: pid, exit code, times, restarts, health
    created_ns  INTEGER NOT NULL
) STRICT;
CREATE INDEX containers_by_image ON containers (image);

CREATE TABLE volumes (
    name        TEXT PRIMARY KEY,               -- volumes/<name>/_data
    anonymous   INTEGER NOT NULL CHECK (anonymous IN (0, 1)),
    labels_json TEXT NOT NULL,
    options_json TEXT NOT NULL,                 -- the local driver's: type, device, o
    created_ns  INTEGER NOT NULL
) STRICT;

CREATE TABLE container_volumes (
    container   TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    volume      TEXT NOT NULL REFERENCES volumes    ON DELETE RESTRICT,
    PRIMARY KEY (container, volume)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes (volume);

CREATE TABLE container_images (                 -- images that are mounted; not the one it runs
    container   TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    image       TEXT NOT NULL,                  -- no foreign key: rmi --force may remove it
    PRIMARY KEY (container, image)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_images_by_image ON container_images (image);

CREATE TABLE networks (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    driver      TEXT NOT NULL CHECK (driver IN ('bridge', 'host', 'null')),
    spec_json   TEXT NOT NULL,
    created_ns  INTEGER NOT NULL
) STRICT;

CREATE TABLE endpoints (
    id          TEXT PRIMARY KEY,
    container   TEXT NOT NULL,                  -- of a container that runs, or a RUN of a build
    network     TEXT NOT NULL REFERENCES networks   ON DELETE RESTRICT,
    ipv4        TEXT,
    ipv6        TEXT,
    mac         TEXT,
    spec_json   TEXT NOT NULL,                  -- aliases, requested address, MAC
    UNIQUE (container, network),
    UNIQUE (network, ipv4)
) STRICT;

CREATE TABLE published_ports (                  -- only while the container runs
    protocol    TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    host_ip     TEXT NOT NULL,
    host_port   INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    endpoint    TEXT NOT NULL REFERENCES endpoints ON DELETE CASCADE,
    port        INTEGER NOT NULL,
    PRIMARY KEY (protocol, host_ip, host_port)
) STRICT, WITHOUT ROWID;
CREATE INDEX published_ports_by_endpoint ON published_ports (endpoint);

CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,               -- digest of parent, instruction and inputs
    parent      TEXT NOT NULL,                  -- key of the step before, '' for the first
    instruction TEXT NOT NULL,                  -- as people read it
    inputs_json TEXT NOT NULL,                  -- every named input of the key: a miss can be explained
    result_json TEXT NOT NULL,                  -- chain ID, layer, image config after the step
    size        INTEGER NOT NULL,
    uses        INTEGER NOT NULL,
    created_ns  INTEGER NOT NULL,
    used_ns     INTEGER NOT NULL
) STRICT;
CREATE INDEX build_cache_by_parent ON build_cache (parent);

CREATE TABLE last_run (                         -- one row: where a daemon last looked at its files
    place       TEXT NOT NULL                   -- boot of the machine, and its disk
) STRICT;

CREATE TABLE leases (                           -- "do not collect this yet"
    id          TEXT PRIMARY KEY,
    expires_ns  INTEGER NOT NULL
) STRICT;

CREATE TABLE lease_items (
    lease       TEXT NOT NULL REFERENCES leases ON DELETE CASCADE,
    kind        TEXT NOT NULL CHECK (kind IN ('blob', 'snapshot')),
    key         TEXT NOT NULL,
    PRIMARY KEY (lease, kind, key)
) STRICT, WITHOUT ROWID;

-- Who uses what. Slices ask these views instead of importing one another.

CREATE VIEW image_users AS
    SELECT u.image, c.id AS container, c.name,
           c.state IN ('running', 'paused', 'restarting') AS running
    FROM (SELECT image, id AS container FROM containers
          UNION SELECT image, container FROM container_images) u
    JOIN containers c ON c.id = u.container;

CREATE VIEW volume_users AS
    SELECT v.volume, c.id AS container, c.name FROM container_volumes v JOIN containers c ON c.id = v.container;

CREATE VIEW network_users AS
    SELECT e.network, c.id AS container, c.name, e.id AS endpoint, e.ipv4, e.ipv6, e.mac
    FROM endpoints e JOIN containers c ON c.id = e.container;
