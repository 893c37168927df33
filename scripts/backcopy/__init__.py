"""The Bigram-Backcopy task and its model (Guo et al., arXiv 2410.13835), a cheap trainable attention sink."""
