{lineage}
