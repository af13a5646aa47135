"""What \"inside the brain\" means, and the labels of a tumour's parts."""
