"""Tests of the scripts in benchmarks/; those of the package ean_core/benchmark are in tests/benchmark."""
