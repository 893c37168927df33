"""What scripts/bench.py needs: the peers, the machine, the roofline, and the pages made from the results."""
