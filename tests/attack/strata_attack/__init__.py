"""Attacks on real broker processes: kill -9 under load, storms of hostile connections, bit flips, full and failing disks.

Each attack is a module here. `tests/it/test_attack_*.py` runs the short form of each in CI; the programs beside this
package run the long forms. What the attacks share with other tests is `strata_lab`; what they share with each other is
`harness.py`.
"""
