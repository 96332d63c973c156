"""The paper's methods: truncsvd, magtruncsvd and osd (arXiv 2511.02681)."""
