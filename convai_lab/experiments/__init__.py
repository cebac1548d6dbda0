"""Experiments: which agent is better, and is it luck?"""
