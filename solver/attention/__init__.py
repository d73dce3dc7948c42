"""Attention: softmax means at any temperature, dense and fast, with error bounds."""
