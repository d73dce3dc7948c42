"""The papers' claims: predictions computed from the parameters, beside what runs measure, with error bars and verdicts.

A claim is a file in problems/claims/: a problem, what is swept, and which named quantities are measured and predicted.
"""
