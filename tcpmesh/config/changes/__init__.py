"""What is other in one configuration than in another, and whether that can be while a proxy runs:
for reloads.
"""
