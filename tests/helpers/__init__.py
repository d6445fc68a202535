"""What tests of several packages share: tiny networks and files, made-up records, a traced CUDA device."""
