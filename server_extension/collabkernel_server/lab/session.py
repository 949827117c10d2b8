"""``PUT api/collaboration/session/{path}``: which room a file's document is in."""

from __future__ import annotations

from tornado import web

from collabkernel_server.handler import ApiError
from collabkernel_server.lab.api import SESSION_ID, LabApiHandler, answers_errors, apart, authorized_to_read
from collabkernel_server.lab.names import FORMATS, is_document_type, is_format_of


class SessionHandler(LabApiHandler):
    """Answers ``{"format", "type", "fileId", "sessionId"}``.

    A PUT, but who may only read gets his answer too: the room takes no edits of his.
    """

    @web.authenticated
    @authorized_to_read
    @answers_errors
    async def put(self, path: str) -> None:
        """200 for a file that has an id, 201 for one that gets it now, 404 for none."""
        body = self.body()
        file_format, file_type = body.get("format"), body.get("type")
        if not isinstance(file_format, str) or file_format not in FORMATS:
            raise ApiError(400, "bad-request", f'"format" must be one of {", ".join(FORMATS)}')
        if not isinstance(file_type, str) or not is_document_type(file_type):
            raise ApiError(400, "bad-request", '"type" must be a type of document such as "notebook"')
        if not is_format_of(file_format, file_type):
            raise ApiError(400, "bad-request", 'only a "notebook" has the format "json"')
        # JupyterLab's history view asks with a leading slash.
        file_id, is_new = await apart(self.lab.index(path.strip("/")))
        answer = {"format": file_format, "type": file_type, "fileId": file_id, "sessionId": SESSION_ID}
        self.reply(answer, 201 if is_new else 200)
