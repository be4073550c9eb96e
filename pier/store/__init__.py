"""What is kept: the database, blobs, snapshots and leases. See schema.sql first."""
