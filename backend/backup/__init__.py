"""Backup and restore of everything that counts: the database, the stored files, and, apart from them, the keys.

`create` writes a backup, `verify` reads it again, `restore` brings the database back beside the present one and swaps
the two, `after` does what every restore has to do, however the database came back (docs/operations.md, "Backups and
restore"). Nothing here is called by a request or a job.
"""
