"""The addresses of the service."""

from starlette.convertors import StringConvertor, register_url_convertor


class PlainConvertor(StringConvertor):
    """A part of an address without a colon: behind that stands what is to be done."""

    regex = "[^/:]+"


register_url_convertor("plain", PlainConvertor())
