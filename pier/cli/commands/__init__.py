"""The commands, a module for each family, imported when one of them is named.

Every module has a table COMMANDS from the grouped name (`container ls`) to its Command.
"""
