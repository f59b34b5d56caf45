"""Cross-check (数据比对): an entry against business records and other entries, one verdict with evidence per field.

`rules` decides and knows no database; `lookup` reads what it decides on; `service` writes the verdict; `reading`
shows verdicts to those who may see them.
"""
